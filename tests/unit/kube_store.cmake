foreach(module kube_store_objects kube_store_cache kube_signs)
  howdah_test(NAME test_${module} LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c)
endforeach()
howdah_test(NAME test_kube_announce LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_kube_announce.c
            ${CMAKE_SOURCE_DIR}/tests/support/kube_server.c
            ${CMAKE_SOURCE_DIR}/tests/support/http_wire.c
            ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
howdah_test(NAME test_kube_store_served LIBS dcs Threads::Threads SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_kube_store_served.c
            ${CMAKE_SOURCE_DIR}/tests/support/kube_server.c
            ${CMAKE_SOURCE_DIR}/tests/support/http_wire.c
            ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
# Run by tests/kube/test_store.py, which has a Kubernetes for it.
foreach(part store store_keys)
  add_executable(test_kube_lab_${part} ${CMAKE_SOURCE_DIR}/tests/kube/test_kube_${part}.c
                 ${CMAKE_SOURCE_DIR}/tests/kube/store_lab.c
                 ${CMAKE_SOURCE_DIR}/tests/support/dcs_lab.c
                 ${CMAKE_SOURCE_DIR}/tests/support/lossy_proxy.c
                 ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
  target_link_libraries(test_kube_lab_${part} PRIVATE dcs warnings PkgConfig::CMOCKA Threads::Threads)
endforeach()

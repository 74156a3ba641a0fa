foreach(module kube_store_objects kube_store_cache)
  howdah_test(NAME test_${module} LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c)
endforeach()
# Run by tests/kube/test_store.py, which has a Kubernetes for it.
add_executable(test_kube_lab_store ${CMAKE_SOURCE_DIR}/tests/kube/test_kube_store.c
               ${CMAKE_SOURCE_DIR}/tests/kube/store_lab.c
               ${CMAKE_SOURCE_DIR}/tests/support/lossy_proxy.c
               ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
target_link_libraries(test_kube_lab_store PRIVATE dcs warnings PkgConfig::CMOCKA Threads::Threads)

foreach(module kube_access kube_answer)
  howdah_test(NAME test_${module} LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c)
endforeach()
foreach(module kube_client kube_watch)
  howdah_test(NAME test_${module} LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c
              ${CMAKE_SOURCE_DIR}/tests/support/kube_server.c
              ${CMAKE_SOURCE_DIR}/tests/support/http_wire.c
              ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
endforeach()
# Run by tests/kube/test_client.py, which has a Kubernetes for them.
foreach(module client watch)
  add_executable(test_kube_lab_${module} ${CMAKE_SOURCE_DIR}/tests/kube/test_kube_${module}.c
                 ${CMAKE_SOURCE_DIR}/tests/kube/kube_calls.c)
  target_link_libraries(test_kube_lab_${module} PRIVATE dcs warnings PkgConfig::CMOCKA)
endforeach()

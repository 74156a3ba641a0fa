foreach(module table cluster options edit)
  howdah_test(NAME test_ctl_${module} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_ctl_${module}.c
              LIBS ctl_lib)
endforeach()

# These run the program itself.
set(ctl_lab ${CMAKE_SOURCE_DIR}/tests/unit/test_ctl_lab.c
            ${CMAKE_SOURCE_DIR}/tests/support/etcd_server.c
            ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
foreach(module commands show api query)
  set(sources ${CMAKE_SOURCE_DIR}/tests/unit/test_ctl_${module}.c ${ctl_lab})
  if(module MATCHES "commands|show") # on a cluster in a real etcd
    list(APPEND sources ${CMAKE_SOURCE_DIR}/tests/unit/test_ctl_demo.c)
  endif()
  howdah_test(NAME test_ctl_${module} LIBS base model os SOURCES ${sources})
  add_dependencies(test_ctl_${module} ctl)
endforeach()

# Against Patroni 4.1's own patronictl, byte by byte; 77: it cannot be had here.
add_test(NAME patronictl_list COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/patronictl_list.sh)
set_tests_properties(patronictl_list PROPERTIES LABELS interop TIMEOUT 1800 SKIP_RETURN_CODE 77
  ENVIRONMENT "HOWDAH_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")

foreach(module kube server machine)
  howdah_test(NAME test_doctor_${module} LIBS ctl_lib
              SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_doctor_${module}.c
                      ${CMAKE_SOURCE_DIR}/tests/unit/test_doctor_world.c)
endforeach()

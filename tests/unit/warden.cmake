add_executable(test_warden_postgres ${CMAKE_SOURCE_DIR}/tests/unit/test_warden_postgres.c)
target_link_libraries(test_warden_postgres PRIVATE warnings)

howdah_test(NAME test_warden_rules SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_warden_rules.c
  ${CMAKE_SOURCE_DIR}/agent/warden/data_dir.c ${CMAKE_SOURCE_DIR}/agent/warden/fence_rules.c
  ${CMAKE_SOURCE_DIR}/agent/warden/proc_parse.c)

# Real processes, each test in a directory of its own.
set(warden_tests children fence postmaster socket stop client install)
foreach(name ${warden_tests} size)
  howdah_test(NAME test_warden_${name}
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_warden_${name}.c
            ${CMAKE_SOURCE_DIR}/tests/unit/test_warden_lab.c
    LIBS warden_client os base)
  add_dependencies(test_warden_${name} warden test_warden_postgres)
endforeach()

# The same with the warden that is installed, whatever this build makes of it; and its size, which
# only that one keeps.
if(HOWDAH_WARDEN_STATIC)
  set_property(TEST test_warden_size APPEND PROPERTY ENVIRONMENT HOWDAH_WARDEN=howdah-warden)
elseif(TARGET warden_static)
  foreach(name ${warden_tests})
    add_test(NAME test_warden_${name}_static COMMAND test_warden_${name})
    get_test_property(test_warden_${name} ENVIRONMENT environment)
    set_tests_properties(test_warden_${name}_static PROPERTIES LABELS unit TIMEOUT 120
      ENVIRONMENT "${environment};HOWDAH_WARDEN=howdah-warden-static")
  endforeach()
  set_property(TEST test_warden_size APPEND PROPERTY ENVIRONMENT HOWDAH_WARDEN=howdah-warden-static)
  foreach(name ${warden_tests} size)
    add_dependencies(test_warden_${name} warden_static)
  endforeach()
else()
  set_tests_properties(test_warden_size PROPERTIES DISABLED ON)
  message(WARNING "no musl-gcc (Debian: musl-tools): test_warden_size is disabled, and the warden "
                  "that gets installed is not tested")
endif()

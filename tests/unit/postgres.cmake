# Real servers under real wardens; the tests change to the user postgres themselves.
add_library(pg_lab STATIC ${CMAKE_SOURCE_DIR}/tests/support/pg_lab.c)
target_link_libraries(pg_lab PUBLIC postgres warden_client test_ports PkgConfig::CMOCKA PRIVATE warnings)
foreach(name local_server pg_rejoin pg_replay pg_slots pg_trouble)
  howdah_test(NAME test_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${name}.c LIBS pg_lab
    TIMEOUT 300)
  add_dependencies(test_${name} warden)
endforeach()
foreach(name pg_text pg_facts)
  howdah_test(NAME test_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${name}.c LIBS postgres)
endforeach()
if(COMMAND howdah_fuzz AND CMAKE_C_COMPILER_ID MATCHES "Clang")
  set(room ${CMAKE_SOURCE_DIR}/agent/postgres)
  howdah_fuzz(NAME fuzz_pg_text SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_pg_text.c
              ${room}/control_data.c ${room}/conf_text.c ${room}/command_line.c
              ${CMAKE_SOURCE_DIR}/common/os/files.c
              ROOMS base model LIBS PkgConfig::CJSON PkgConfig::YAML m
              CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/control_data)
endif()

# Real servers under real wardens; the tests change to the user postgres themselves.
add_library(pg_lab STATIC ${CMAKE_SOURCE_DIR}/tests/support/pg_lab.c)
target_link_libraries(pg_lab PUBLIC postgres warden_client PkgConfig::CMOCKA PRIVATE warnings)
foreach(name local_server pg_rejoin pg_trouble)
  howdah_test(NAME test_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${name}.c LIBS pg_lab
    TIMEOUT 300)
  add_dependencies(test_${name} warden)
endforeach()
foreach(name pg_text pg_facts)
  howdah_test(NAME test_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${name}.c LIBS postgres)
endforeach()

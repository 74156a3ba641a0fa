foreach(module peers requests announce told positions refused)
  howdah_test(NAME test_${module} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c LIBS agentlib)
endforeach()
howdah_test(NAME test_ledger_file LIBS os base SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_ledger_file.c ${CMAKE_SOURCE_DIR}/agent/ledger_file.c)
howdah_test(NAME test_places LIBS model os base SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_places.c ${CMAKE_SOURCE_DIR}/agent/places.c)

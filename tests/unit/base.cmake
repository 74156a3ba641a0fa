foreach(module arena base64 error lsn text timeline timestamp)
  howdah_test(NAME test_${module} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c LIBS base)
endforeach()

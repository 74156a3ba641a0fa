howdah_test(NAME test_decide SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_decide.c LIBS core)

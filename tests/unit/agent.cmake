howdah_test(NAME test_peers SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_peers.c LIBS agentlib)

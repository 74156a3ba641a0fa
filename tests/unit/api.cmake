foreach(module health snapshot api_access api_documents)
  howdah_test(NAME test_${module} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c LIBS api)
endforeach()
foreach(module api api_actions api_server)
  howdah_test(NAME test_${module} LIBS api SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c
              ${CMAKE_SOURCE_DIR}/tests/unit/test_api_lab.c)
endforeach()
howdah_test(NAME test_api_tls LIBS api SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_api_tls.c
            ${CMAKE_SOURCE_DIR}/tests/unit/test_api_lab.c
            ${CMAKE_SOURCE_DIR}/tests/support/certificates.c)
if(COMMAND howdah_fuzz AND CMAKE_C_COMPILER_ID MATCHES "Clang")
  howdah_fuzz(NAME fuzz_health ROOMS base model LIBS PkgConfig::CJSON PkgConfig::YAML m
              SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_health.c ${CMAKE_SOURCE_DIR}/api/health.c
              ${CMAKE_SOURCE_DIR}/api/member_status.c
              CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/health)
endif()

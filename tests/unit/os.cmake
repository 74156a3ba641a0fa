foreach(module files log random retry thread)
  howdah_test(NAME test_${module} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c LIBS os)
endforeach()
howdah_test(NAME test_resolver LIBS os SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_resolver.c
            ${CMAKE_SOURCE_DIR}/tests/support/name_service.c)
foreach(module http http_stream)
  howdah_test(NAME test_${module} LIBS os SOURCES
              ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c
              ${CMAKE_SOURCE_DIR}/tests/support/name_service.c
              ${CMAKE_SOURCE_DIR}/tests/support/odd_server.c
              ${CMAKE_SOURCE_DIR}/tests/support/http_wire.c
              ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
endforeach()
howdah_test(NAME test_https LIBS os PkgConfig::GNUTLS SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_https.c
            ${CMAKE_SOURCE_DIR}/tests/support/certificates.c
            ${CMAKE_SOURCE_DIR}/tests/support/name_service.c
            ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
set_target_properties(test_https PROPERTIES ENABLE_EXPORTS ON) # its stat, for OpenSSL

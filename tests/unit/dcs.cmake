foreach(module records records_write etcd_parts etcd_cache)
  howdah_test(NAME test_${module} LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c)
endforeach()
set(dcs_lab ${CMAKE_SOURCE_DIR}/tests/support/etcd_lab.c
            ${CMAKE_SOURCE_DIR}/tests/support/dcs_lab.c
            ${CMAKE_SOURCE_DIR}/tests/support/etcd_server.c
            ${CMAKE_SOURCE_DIR}/tests/support/tcp_server.c)
howdah_test(NAME test_etcd LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_etcd.c ${dcs_lab})
howdah_test(NAME test_etcd_loss TIMEOUT 300 LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_etcd_loss.c
            ${CMAKE_SOURCE_DIR}/tests/support/lossy_proxy.c ${dcs_lab})
howdah_test(NAME test_etcd_faults TIMEOUT 300 LIBS dcs PkgConfig::GNUTLS SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_etcd_faults.c
            ${CMAKE_SOURCE_DIR}/tests/support/certificates.c ${dcs_lab})
howdah_test(NAME test_etcd_watch TIMEOUT 300 LIBS dcs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_etcd_watch.c
            ${CMAKE_SOURCE_DIR}/tests/support/lossy_proxy.c ${dcs_lab})
howdah_test(NAME test_etcd_discover TIMEOUT 300 LIBS dcs SOURCES
            ${CMAKE_SOURCE_DIR}/tests/unit/test_etcd_discover.c
            ${CMAKE_SOURCE_DIR}/tests/support/lossy_proxy.c
            ${CMAKE_SOURCE_DIR}/tests/support/name_service.c ${dcs_lab})

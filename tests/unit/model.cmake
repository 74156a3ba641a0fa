howdah_test(NAME test_tree SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_tree.c LIBS model)
howdah_test(NAME test_tree_yaml SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_tree_yaml.c LIBS model)
howdah_test(NAME test_model SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_model.c LIBS model)
howdah_test(NAME test_units SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_units.c LIBS model)
foreach(module settings settings_kubernetes)
  howdah_test(NAME test_${module} LIBS model SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c
              ${CMAKE_SOURCE_DIR}/tests/support/settings_world.c)
endforeach()
howdah_test(NAME test_settings_messages
            SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_settings_messages.c LIBS model)
howdah_test(NAME test_settings_env SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_settings_env.c
            LIBS model)
howdah_test(NAME test_settings_read SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_settings_read.c
            LIBS settings_io)

add_test(NAME layers_includes COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/layers/includes.sh)
add_test(NAME layers_purity COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/layers/purity.sh ${CMAKE_BINARY_DIR})
set_tests_properties(layers_includes layers_purity PROPERTIES LABELS unit)

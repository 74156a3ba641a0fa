# The pages that are printed from the table of options.
set(docs_dir ${CMAKE_CURRENT_SOURCE_DIR}/docs)
add_test(NAME docs_settings COMMAND ${docs_dir}/printed.sh $<TARGET_FILE:agent>
         --generate-settings-reference ${PROJECT_SOURCE_DIR}/docs/settings.md)
add_test(NAME docs_sample COMMAND ${docs_dir}/printed.sh $<TARGET_FILE:agent>
         --generate-sample-config ${PROJECT_SOURCE_DIR}/docs/howdah.sample.yml)
add_test(NAME docs_sample_is_valid COMMAND ${docs_dir}/sample.sh $<TARGET_FILE:agent>
         ${PROJECT_SOURCE_DIR}/docs/howdah.sample.yml)
# What comments and pages refer to exists.
add_test(NAME docs_citations COMMAND ${docs_dir}/citations.py ${PROJECT_SOURCE_DIR})
set_tests_properties(docs_settings docs_sample docs_sample_is_valid docs_citations PROPERTIES LABELS unit)

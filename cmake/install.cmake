# What goes where, beside the programs, whose targets say it themselves. The units name full paths,
# so the prefix must be that of the configuration.
set(systemd_units howdah@.service howdah-warden@.service)
foreach(unit ${systemd_units})
  configure_file(${PROJECT_SOURCE_DIR}/docker/systemd/${unit}.in
                 ${PROJECT_BINARY_DIR}/systemd/${unit} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/systemd/${unit} DESTINATION lib/systemd/system)
endforeach()
file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md ${PROJECT_SOURCE_DIR}/docs/*.yml)
install(FILES ${pages} ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE
        DESTINATION ${CMAKE_INSTALL_DOCDIR})

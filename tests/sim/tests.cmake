# The simulator: the agent's own library over a simulated world (tests/sim/sim.h). One thread; its
# fibers would mean nothing to ThreadSanitizer.
if(NOT CMAKE_C_FLAGS MATCHES "fsanitize=thread")
  set(sim_dir ${CMAKE_SOURCE_DIR}/tests/sim)
  add_library(simlib STATIC
    ${sim_dir}/fiber.c ${sim_dir}/sim.c ${sim_dir}/sim_actions.c ${sim_dir}/sim_agent.c
    ${sim_dir}/sim_check.c ${sim_dir}/sim_clients.c ${sim_dir}/sim_dcs.c ${sim_dir}/sim_faults.c
    ${sim_dir}/sim_loop.c ${sim_dir}/sim_mail.c ${sim_dir}/sim_peers.c ${sim_dir}/sim_postgres.c
    ${sim_dir}/sim_server.c ${sim_dir}/sim_store.c ${sim_dir}/sim_tasks.c ${sim_dir}/sim_wal.c
    ${sim_dir}/sim_warden.c ${sim_dir}/sim_watch.c ${CMAKE_SOURCE_DIR}/agent/warden/fence_rules.c)
  target_link_libraries(simlib PUBLIC agentlib core model dcs os base PRIVATE warnings)

  add_executable(sim ${sim_dir}/sim_main.c)
  target_link_libraries(sim PRIVATE simlib warnings)

  set(sim_tests)
  foreach(scenarios warden lease handover data)
    howdah_test(NAME test_sim_${scenarios} SOURCES ${sim_dir}/test_sim_${scenarios}.c LIBS simlib
                LABEL sim TIMEOUT 300)
    list(APPEND sim_tests test_sim_${scenarios})
  endforeach()

  # Random faults; a failure names its seed, and ./dev sim --seed N replays it.
  foreach(seeds 1:250 251:500 501:750 751:1000 1001:1250 1251:1500 1501:1750 1751:2000)
    string(REPLACE ":" "_" name ${seeds})
    # What runs beside it has clocks to keep; this has none.
    add_test(NAME sim_seeds_${name} COMMAND nice $<TARGET_FILE:sim> --seeds ${seeds})
    set_tests_properties(sim_seeds_${name} PROPERTIES LABELS sim TIMEOUT 900)
    list(APPEND sim_tests sim_seeds_${name})
  endforeach()

  # In the preset that has the scenarios of tests/it, which mostly wait, these fill the time: from the beginning on,
  # one for two cores.
  if(CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CMAKE_C_FLAGS MATCHES "thread|coverage"
     AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    cmake_host_system_information(RESULT sim_lanes QUERY NUMBER_OF_LOGICAL_CORES)
    math(EXPR sim_lanes "(${sim_lanes} + 1) / 2")
    set(at 0)
    foreach(test ${sim_tests})
      math(EXPR lane "${at} % ${sim_lanes}")
      math(EXPR at "${at} + 1")
      set_tests_properties(${test} PROPERTIES RESOURCE_LOCK sim_${lane} COST 60)
    endforeach()
  endif()
endif()

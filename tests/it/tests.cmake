# Scenarios on real servers: one ctest a function. They run the release build beside this one, as it
# is what people run; HOWDAH_IT_BIN names another.
if(NOT HOWDAH_IT_BIN)
  set(HOWDAH_IT_BIN ${PROJECT_SOURCE_DIR}/build/release/bin)
endif()
# Those that take longest start first, so that none of them runs alone at the end: seconds.
set(it_default_cost 20)
set(it_known
  test_resolver_falls_silent 92
  test_frozen_agent_again_and_again 39
  test_everything_killed_primary_starts_first 38
  test_everything_killed_replica_starts_first 38
  test_everything_killed_late_one_starts_first 38
  test_memory_is_flat_over_ten_thousand_turns 30
  test_main_scenarios_with_everything_locked 29)
if(CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CMAKE_C_FLAGS MATCHES "thread|coverage"
   AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  file(GLOB it_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/it/test_*.py
       ${CMAKE_CURRENT_SOURCE_DIR}/interop/test_*.py)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${it_files})
  foreach(file ${it_files})
    get_filename_component(module ${file} NAME_WE)
    file(STRINGS ${file} functions REGEX "^def test_")
    foreach(line ${functions})
      string(REGEX MATCH "test_[a-z0-9_]+" test ${line})
      set(name it_${module}_${test})
      add_test(NAME ${name} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/it/run.py
               ${module}::${test})
      # Ten thousand turns take three minutes where much else runs.
      set(timeout 300)
      if(test MATCHES "ten_thousand")
        set(timeout 600)
      endif()
      set(cost ${it_default_cost})
      list(FIND it_known ${test} at)
      if(at GREATER -1)
        math(EXPR at "${at} + 1")
        list(GET it_known ${at} cost)
      endif()
      set_tests_properties(${name} PROPERTIES LABELS it TIMEOUT ${timeout} COST ${cost}
        ENVIRONMENT "HOWDAH_BIN=${HOWDAH_IT_BIN}")
    endforeach()
  endforeach()
endif()

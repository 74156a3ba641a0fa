set(decide_tests ${CMAKE_SOURCE_DIR}/tests/unit/test_decide)
howdah_test(NAME test_decide
            SOURCES ${decide_tests}.c ${decide_tests}_lab.c ${decide_tests}_empty.c
                    ${decide_tests}_handover.c ${decide_tests}_leader.c ${decide_tests}_race.c
                    ${decide_tests}_replica.c
            LIBS core)
foreach(module slots_wanted slots_remembered)
  howdah_test(NAME test_${module} LIBS core SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${module}.c
              ${CMAKE_SOURCE_DIR}/tests/support/slot_world.c)
endforeach()

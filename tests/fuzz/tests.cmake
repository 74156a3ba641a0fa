# libFuzzer comes with clang alone. Each target runs for ten seconds as a test, from a small corpus;
# to look longer: bin/fuzz_tree_json -max_total_time=3600 some-directory tests/fuzz/corpus/json
function(howdah_fuzz)
  cmake_parse_arguments(F "" "NAME;CORPUS" "SOURCES;ROOMS;LIBS" ${ARGN})
  set(sources ${F_SOURCES})
  # The rooms' sources are compiled anew, since the fuzzer has to see the branches they take.
  foreach(room ${F_ROOMS})
    get_target_property(room_sources ${room} SOURCES)
    get_target_property(room_directory ${room} SOURCE_DIR)
    foreach(source ${room_sources})
      cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${room_directory})
      list(APPEND sources ${source})
    endforeach()
  endforeach()
  add_executable(${F_NAME} ${sources})
  target_compile_options(${F_NAME} PRIVATE -fsanitize=fuzzer -g)
  target_link_options(${F_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${F_NAME} PRIVATE ${F_LIBS} warnings)
  set(found ${CMAKE_CURRENT_BINARY_DIR}/${F_NAME}.found)
  file(MAKE_DIRECTORY ${found})
  add_test(NAME ${F_NAME} COMMAND ${F_NAME} -max_total_time=10 -timeout=5 -max_len=16384
           -print_final_stats=1 -artifact_prefix=${found}/ ${found} ${F_CORPUS})
  set_tests_properties(${F_NAME} PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()

if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  howdah_fuzz(NAME fuzz_tree_json SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_tree_json.c
              ROOMS base model LIBS PkgConfig::CJSON PkgConfig::YAML m
              CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/json)
  howdah_fuzz(NAME fuzz_tree_yaml SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_tree_yaml.c
              ROOMS base model LIBS PkgConfig::CJSON PkgConfig::YAML m
              CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/yaml)
  set(kube_sources)
  foreach(file answer body cache labels layout object signs vacancy)
    list(APPEND kube_sources ${CMAKE_SOURCE_DIR}/dcs/kubernetes/${file}.c)
  endforeach()
  howdah_fuzz(NAME fuzz_kube SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_kube.c ${kube_sources}
              ${CMAKE_SOURCE_DIR}/dcs/records.c ${CMAKE_SOURCE_DIR}/dcs/records_member.c
              ROOMS base model LIBS dcs PkgConfig::CJSON PkgConfig::YAML m
              CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/kube)
endif()

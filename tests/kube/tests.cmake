# On a real Kubernetes, as root: one ctest a function. They run the images of docker/, which are built from
# this tree; HOWDAH_KUBE_TESTS turns them on, because the first run builds Kubernetes itself.
option(HOWDAH_KUBE_TESTS "tests on a real Kubernetes: Debian, root, some GB" OFF)
if(HOWDAH_KUBE_TESTS)
  file(GLOB kube_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kube/test_*.py)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kube_files})
  foreach(file ${kube_files})
    get_filename_component(module ${file} NAME_WE)
    file(STRINGS ${file} functions REGEX "^def test_")
    foreach(line ${functions})
      string(REGEX MATCH "test_[a-z0-9_]+" test ${line})
      set(name kube_${module}_${test})
      add_test(NAME ${name} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/kube/run.py
               ${module}::${test})
      set_tests_properties(${name} PROPERTIES LABELS kube TIMEOUT 900
        ENVIRONMENT "HOWDAH_BIN=${PROJECT_SOURCE_DIR}/build/release/bin")
    endforeach()
  endforeach()
endif()

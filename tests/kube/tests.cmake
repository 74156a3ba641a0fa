# On a real Kubernetes, as root: one ctest a function. They run the images of docker/, built from this tree.
# Each starts labs; how many may run at once is said by the resource "labs" (docs/testing.md, "Kubernetes"):
#   ctest --preset dev --resource-spec-file $PWD/build/dev/labs.json        as ./dev test does
# Those that take longest come first, so that none of them runs alone at the end.
set(kube_default_cost 120)
# test | labs at a time, 1 if not said | seconds
set(kube_known
  test_lab::test_two_nodes_and_nothing_left 2 400 # 35, but later there are hardly ever two places at once
  test_lab::test_two_control_planes_at_once 2 390
  test_rollout::test_new_pods 1 280
  test_damage::test_cuts 1 210
  test_patroni::test_takeover_with_endpoints 1 200
  test_rollout::test_lost_agents_and_pods 1 165
  test_patroni::test_takeover_with_configmaps 1 130
  test_damage::test_access 1 110
  test_cluster::test_endpoints 1 95
  test_cluster::test_leases 1 90
  test_damage::test_hands_leases 1 75
  test_cluster::test_configmaps 1 70
  test_cluster::test_faults 1 65
  test_store::test_store_leader_in_three_modes 1 65
  test_damage::test_hands_endpoints 1 55
  test_openshift::test_random_user_in_the_whole_cluster 1 55
  test_pod::test_random_user_without_anybody_attached 1 50
  test_doctor::test_a_cluster_with_one_thing_wrong_at_a_time 1 45
  test_dev::test_up_and_down 1 40
  test_cluster::test_one_member 1 40
  test_pod::test_stock_postgres_image 1 35
  test_pod::test_one_container_image 1 35
  test_doctor::test_a_cluster_kept_in_endpoints 1 35
  test_native_sidecar::test_order_of_start_and_stop 1 30
  test_pod::test_image_without_glibc 1 25
  test_store::test_store_keys_in_three_modes 1 25
  test_client::test_client_and_watch 1 12
  test_manifests::test_rights_and_objects 1 12
  test_lab::test_a_lab_that_was_killed_is_cleared_away 1 6
  test_lab::test_building_images_leaves_nothing 0 5
  test_lab::test_wrong_arguments 0 1
  test_lab::test_a_machine_without_labs_is_told_so 0 1
  test_manifests::test_pods_are_restricted 0 1
  test_manifests::test_what_must_not_change 0 1
  test_manifests::test_native_sidecar_is_the_same_pod 0 1
  test_manifests::test_openshift_template_is_the_same_cluster 0 1
  test_manifests::test_settings_are_valid 0 1)

function(kube_test name spec)
  set(labs 1)
  set(cost ${kube_default_cost})
  list(FIND kube_known ${spec} at)
  if(at GREATER -1)
    math(EXPR labs_at "${at} + 1")
    math(EXPR cost_at "${at} + 2")
    list(GET kube_known ${labs_at} labs)
    list(GET kube_known ${cost_at} cost)
  endif()
  add_test(NAME ${name} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/kube/run.py ${spec})
  set_tests_properties(${name} PROPERTIES LABELS kube TIMEOUT 900 COST ${cost} FIXTURES_REQUIRED kube
    ENVIRONMENT "HOWDAH_BIN=${PROJECT_SOURCE_DIR}/build/release/bin;HOWDAH_KUBE_DIR=${kube_dir}")
  if(labs GREATER 0)
    set_tests_properties(${name} PROPERTIES RESOURCE_GROUPS "labs:${labs}")
  endif()
endfunction()

# As with the scenarios of tests/it, one preset has them: dev.
if(CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CMAKE_C_FLAGS MATCHES "thread|coverage"
   AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  # A lab with a cluster takes some 15 s of a core to start, and then a fifth of one, or twice that while a client
  # writes: two cores bear three of them, and a fourth fills them. Two tests want two at once.
  cmake_host_system_information(RESULT kube_lanes QUERY NUMBER_OF_LOGICAL_CORES)
  math(EXPR kube_lanes "${kube_lanes} + 1")
  file(WRITE ${CMAKE_BINARY_DIR}/labs.json
    "{\"version\": {\"major\": 1, \"minor\": 0}, \"local\": [{\"labs\": [{\"id\": \"0\", \"slots\": ${kube_lanes}}]}]}\n")
  # What the run must leave as it was is compared before and after; its directories are all in one place,
  # of a short name, for a socket's path has 108 bytes.
  string(MD5 kube_dir ${CMAKE_BINARY_DIR})
  string(SUBSTRING ${kube_dir} 0 8 kube_dir)
  set(kube_dir /var/tmp/howdah-kube-${kube_dir})
  foreach(when before after)
    add_test(NAME kube_machine_${when} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kube/lab/whole_run.sh
             ${when} ${kube_dir} ${CMAKE_BINARY_DIR}/kube-before.json)
    set_tests_properties(kube_machine_${when} PROPERTIES LABELS kube TIMEOUT 150)
  endforeach()
  set_tests_properties(kube_machine_before PROPERTIES FIXTURES_SETUP kube)
  set_tests_properties(kube_machine_after PROPERTIES FIXTURES_CLEANUP kube)

  file(GLOB kube_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kube/test_*.py)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kube_files})
  foreach(file ${kube_files})
    get_filename_component(module ${file} NAME_WE)
    file(STRINGS ${file} functions REGEX "^def test_")
    foreach(line ${functions})
      string(REGEX MATCH "test_[a-z0-9_]+" test ${line})
      kube_test(kube_${module}_${test} ${module}::${test})
    endforeach()
  endforeach()
endif()

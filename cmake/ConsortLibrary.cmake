# consort_library(NAME SOURCES … LINKS … PRIVATE_LINKS …)
# One library per folder of src/. LINKS are the rooms that it may include from; the architecture
# test (tests/architecture_test.py) reads these calls and fails on an include that is not declared.
function(consort_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(consort_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(consort_${name} PUBLIC consort_flags)
  foreach(room IN LISTS ARG_LINKS)
    target_link_libraries(consort_${name} PUBLIC consort_${room})
  endforeach()
  target_link_libraries(consort_${name} PRIVATE ${ARG_PRIVATE_LINKS})
  target_precompile_headers(consort_${name} REUSE_FROM consort_precompiled_headers)
endfunction()

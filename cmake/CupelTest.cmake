include(GoogleTest)

# cupel_add_test(NAME <exe> SOURCES <files...> LIBS <targets...> [TIMEOUT <seconds>])
# One GoogleTest executable; every TEST becomes a CTest test of its own.
function(cupel_add_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE cupel_flags ${ARG_LIBS} GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

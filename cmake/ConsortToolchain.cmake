# Flags that every target shares: warnings are errors, mold links, ccache remembers.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

add_library(consort_flags INTERFACE)
target_compile_options(consort_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
  # GCC 12 reports these falsely on std::string and std::variant in optimised builds.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-dangling-pointer>)
target_include_directories(consort_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(consort_flags INTERFACE _FILE_OFFSET_BITS=64)

if(CONSORT_SANITIZE)
  add_compile_options(-fsanitize=${CONSORT_SANITIZE} -fno-omit-frame-pointer -Og -g1)
  # A check at each use of a pointer: with GCC these three take as long to compile as all the rest, and ASan sees null by itself.
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=null,alignment,object-size>)
  add_link_options(-fsanitize=${CONSORT_SANITIZE})
  add_compile_definitions(CONSORT_SANITIZED=1)
  if(CONSORT_SANITIZE MATCHES thread)
    # Asio's fences are unknown to TSan, and so they say at each; what matters has a mutex or an atomic besides.
    add_compile_options(-Wno-tsan)
  endif()
endif()

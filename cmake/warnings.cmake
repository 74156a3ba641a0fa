# Every target of ours links this. Warnings are errors in the presets, not for packagers.
add_library(warnings INTERFACE)
target_compile_definitions(warnings INTERFACE _GNU_SOURCE HOWDAH_VERSION="${PROJECT_VERSION}")
target_include_directories(warnings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-qual -Wformat=2 -Wstrict-prototypes
  -Wmissing-prototypes -Wvla -Wwrite-strings -Wundef
  # {0} is our zero value; the remaining members being implicit is the point of it.
  -Wno-missing-field-initializers)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  # clang calls {0} for a struct whose first member is a struct a missing brace.
  target_compile_options(warnings INTERFACE -Wno-missing-braces)
endif()

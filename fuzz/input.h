// What the fuzz targets share: the input as text, and the property that most of our formats have.
// Each target file defines LLVMFuzzerTestOneInput (https://llvm.org/docs/LibFuzzer.html); it is
// linked with libFuzzer in the preset `fuzz`, and with replay_main.cc as a test of every other
// build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace consort::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A property that must hold for every input. Ends the process: that is how a fuzzer finds out.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken property: %s\n", what);
  std::abort();
}

// What we read, we can write, and reading that gives the same again: a journal or a message loses
// nothing on its way. `read`: Json → Result<T>; `write`: T → Json.
template <class Read, class Write>
void round_trip(std::string_view text, Read read, Write write) {
  const auto json = parse_json(text);
  if (!json) return;
  const auto value = read(*json);
  if (!value) return;
  const Json written = write(*value);
  if (!written.canonical()) return;  // fractions are not for formats, and may be read one bit off
  const auto again = read(written);
  require(again.has_value(), "what we wrote can be read");
  require(write(*again).dump() == written.dump(), "reading what we wrote loses nothing");
}

}  // namespace consort::fuzz

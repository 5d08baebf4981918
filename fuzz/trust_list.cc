// Trust lists: files that people write and carry from machine to machine.
#include "signing/trust_list.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, signing::trust_list_from_json, signing::trust_list_to_json);
  static_cast<void>(signing::trust_list_from_text(text).has_value());
  return 0;
}

// Placeholders, at both stages.
#include "site/placeholder.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  // A value that looks like a placeholder itself: it must never be looked at again.
  int asked = 0;
  const auto lookup = [&](std::string_view name) -> Result<std::string> {
    fuzz::require(name != "host.planted", "values that were filled in are not expanded");
    ++asked;
    return std::string("${host.planted}$");
  };
  for (const auto stage : {site::PlaceholderStage::compile, site::PlaceholderStage::host}) {
    if (text.find("planted") != std::string_view::npos) return 0;
    asked = 0;
    const auto expanded = site::expand(text, stage, lookup);
    if (expanded && asked == 0 && text.find("$${") == std::string_view::npos)
      fuzz::require(*expanded == text, "text without placeholders stays");
    if (const auto json = parse_json(text)) {
      static_cast<void>(site::expand_all(*json, stage, lookup));
      static_cast<void>(site::placeholders_in(*json, stage));
    }
  }
  return 0;
}

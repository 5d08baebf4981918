// The small values that stand in every document: digests, durations, times, names; and diffs and
// globs of any text.
#include "base/text.h"

#include "base/digest.h"
#include "base/time.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto digest = Digest::parse(text))
    fuzz::require(digest->str() == text, "a digest has one way to be written");
  if (const auto duration = parse_duration(text)) {
    const auto again = parse_duration(format_duration(*duration));
    fuzz::require(again && *again == *duration, "a duration is written exactly");
  }
  if (const auto instant = parse_instant(text)) {
    const auto again = parse_instant(format_instant(*instant));
    fuzz::require(again && *again == *instant, "an instant is written exactly");
  }
  static_cast<void>(is_utf8(text));
  static_cast<void>(is_name(text));
  static_cast<void>(last_lines(text, 3));
  const std::size_t half = text.size() / 2;
  for (const std::string& cut :
       {beginning_of(std::string(text), half), end_of(std::string(text), half)}) {
    fuzz::require(cut.size() <= half, "what is cut is no longer than asked for");
    fuzz::require(!is_utf8(text) || is_utf8(cut), "characters stay whole");
  }
  const std::string_view a = text.substr(0, half);
  const std::string_view b = text.substr(half);
  if (size < 512) static_cast<void>(glob_match(a, b));
  if (size < 4096) {
    fuzz::require(unified_diff(a, a).empty(), "equal texts have no difference");
    static_cast<void>(unified_diff(a, b));
  }
  if (size < 256) fuzz::require((edit_distance(a, b) == 0) == (a == b), "distance 0 is equality");
  return 0;
}

// Label selectors.
#include "base/selector.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  const auto selector = Selector::parse(text);
  if (!selector) return 0;
  const LabelMap labels = {{"arch", "amd64"}, {"os.id", "debian"}, {"gpu", ""}};
  const bool matches = selector->matches(labels);
  const auto again = Selector::parse(selector->text());
  fuzz::require(again.has_value() && again->matches(labels) == matches,
                "a selector means what its text means");
  fuzz::require(!selector->empty() || matches, "the empty selector matches everything");
  return 0;
}

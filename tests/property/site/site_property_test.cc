// Placeholders: expanded once, at their stage, and never inside what was filled in.
#include "fixtures/properties.h"
#include "site/placeholder.h"

namespace consort::site {
namespace {

using tests::draw_between;
using tests::draw_chance;

struct Piece {
  std::string text;      // as the author writes it
  std::string compiled;  // after the compiler
  std::string expanded;  // after the agent
};

const std::string kValue = "${host.name} and $${x}";  // a value that looks like a placeholder
const std::string kAddress = "10.0.0.1";

Piece draw_piece() {
  switch (draw_between(0, 5)) {
    case 0:
      return {"plain ", "plain ", "plain "};
    case 1:
      return {"$${host.name}", "$${host.name}", "${host.name}"};
    case 2:
      return {"${HOME} ", "${HOME} ", "${HOME} "};
    case 3:
      return {"${host.name}", "${host.name}", kValue};
    case 4:
      return {"${fact.os.id}", "${fact.os.id}", kValue};
    default:
      return {"${needs.sql.address}", kAddress, kAddress};
  }
}

Result<std::string> value(std::string_view name) {
  return name.starts_with("needs.") ? kAddress : kValue;
}

RC_GTEST_PROP(PlaceholderProperty, EachIsExpandedOnceAtItsStage, ()) {
  std::string text, expected;
  for (int i = draw_between(0, 8); i > 0; --i) {
    const Piece piece = draw_piece();
    text += piece.text;
    expected += piece.expanded;
  }
  const auto compiled = expand(text, PlaceholderStage::compile, value);
  RC_ASSERT(compiled.has_value());
  const auto expanded = expand(*compiled, PlaceholderStage::host, value);
  RC_ASSERT(expanded.has_value());
  RC_ASSERT(*expanded == expected);
}

RC_GTEST_PROP(PlaceholderProperty, TextWithoutPlaceholdersStaysAsItIs, (std::string text)) {
  std::erase(text, '{');
  RC_ASSERT(*expand(text, PlaceholderStage::compile, value) == text);
  RC_ASSERT(*expand(text, PlaceholderStage::host, value) == text);
}

RC_GTEST_PROP(PlaceholderProperty, AnyTextIsExpandedWithoutTrouble, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::element('$', '{', '}', '.', 'h', ':'));
  const auto once = expand(text, PlaceholderStage::host, value);
  RC_ASSERT(once.has_value());
}

RC_GTEST_PROP(PlaceholderProperty, EncodedValuesAreReadBackByTheirReader, ()) {
  const auto raw = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  const auto lookup = [&](std::string_view) -> Result<std::string> { return raw; };
  const auto json = expand("${json:host.name}", PlaceholderStage::host, lookup);
  RC_ASSERT(parse_json(*json)->as_string() == raw);
  const auto shell = expand("${shell:host.name}", PlaceholderStage::host, lookup);
  // A POSIX single-quoted word: quotes end, are escaped, and begin again.
  std::string word;
  for (std::size_t i = 1; i + 1 < shell->size(); ++i) {
    if ((*shell)[i] == '\'') i += 2;
    word += (*shell)[i];
    if ((*shell)[i] == '\'') ++i;
  }
  RC_ASSERT(word == raw);
}

}  // namespace
}  // namespace consort::site

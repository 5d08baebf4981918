// What base writes it reads back; what it reads is bounded, whatever it is.
#include "base/digest.h"
#include "base/json.h"
#include "base/selector.h"
#include "base/text.h"
#include "base/time.h"
#include "fixtures/properties.h"

namespace consort {
namespace {

using tests::draw_between;
using tests::draw_chance;

std::string draw_text() {
  std::string out = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  if (draw_chance(30)) out += draw_chance(50) ? "ü€" : "😀";
  return out;
}

Json draw_json(int depth) {
  switch (draw_between(0, depth > 0 ? 6 : 4)) {
    case 0:
      return {};
    case 1:
      return draw_chance(50);
    case 2:
      return *rc::gen::arbitrary<std::int64_t>();
    case 3:
      return draw_text();
    case 4:
      return static_cast<double>(draw_between(-1000, 1000)) + 0.25;
    case 5: {
      Json out = Json::array();
      for (int i = draw_between(0, 4); i > 0; --i) out.push_back(draw_json(depth - 1));
      return out;
    }
    default: {
      Json out = Json::object();
      for (int i = draw_between(0, 4); i > 0; --i) out[draw_text()] = draw_json(depth - 1);
      return out;
    }
  }
}

RC_GTEST_PROP(JsonProperty, IsReadBackAsItWasWritten, ()) {
  const Json json = draw_json(4);
  const auto compact = parse_json(json.dump());
  RC_ASSERT(compact.has_value());
  RC_ASSERT(*compact == json);
  const auto pretty = parse_json(json.pretty());
  RC_ASSERT(pretty.has_value());
  RC_ASSERT(*pretty == json);
}

RC_GTEST_PROP(JsonProperty, CanonicalBytesAreTheSameForTheSameValue, ()) {
  const Json json = draw_json(4);
  const auto bytes = json.canonical();
  RC_PRE(bytes.has_value());
  const auto again = parse_json(*bytes)->canonical();
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == *bytes);
}

RC_GTEST_PROP(JsonProperty, AnyBytesAreReadOrRefused, (const std::string& bytes)) {
  const auto json = parse_json(bytes);
  if (json) RC_ASSERT(parse_json(json->dump()).has_value());
}

RC_GTEST_PROP(DigestProperty, IsReadBackAndNothingElseIs, (const std::string& bytes)) {
  const Digest digest = Digest::of(bytes);
  RC_ASSERT(*Digest::parse(digest.str()) == digest);
  std::string changed = digest.str();
  const auto at = draw_between<std::size_t>(0, changed.size() - 1);
  changed[at] = static_cast<char>(draw_between(32, 126));
  const auto other = Digest::parse(changed);
  if (other) RC_ASSERT(other->str() == changed);
}

RC_GTEST_PROP(TimeProperty, InstantsAndDurationsAreReadBack, ()) {
  const Instant instant =
      from_millis(draw_between<std::int64_t>(-62'000'000'000'000, 253'402'300'799'999));
  RC_ASSERT(*parse_instant(format_instant(instant)) == instant);
  const Duration duration{draw_between<std::int64_t>(0, 3650LL * 86'400'000)};
  RC_ASSERT(*parse_duration(format_duration(duration)) == duration);
}

// A selector as data, written down in one of its spellings and asked about some labels.
struct Term {
  int kind = 0;  // 0: key, 1: !key, 2: in, 3: notin
  std::string key;
  std::vector<std::string> values;

  [[nodiscard]] std::string text() const {
    const std::string space(static_cast<std::size_t>(draw_between(0, 2)), ' ');
    if (kind == 0) return space + key + space;
    if (kind == 1) return space + "!" + space + key;
    if (values.size() == 1 && draw_chance(50))
      return key + space + (kind == 3 ? "!=" : draw_chance(50) ? "=" : "==") + space + values[0];
    return key + " " + (kind == 2 ? "in" : "notin") + space + "(" + space +
           join(values, space + "," + space) + ")" + space;
  }

  [[nodiscard]] bool matches(const LabelMap& labels) const {
    const auto it = labels.find(key);
    if (kind == 1) return it == labels.end();
    if (it == labels.end()) return false;
    const bool listed = std::find(values.begin(), values.end(), it->second) != values.end();
    return kind == 0 || listed == (kind == 2);
  }
};

RC_GTEST_PROP(SelectorProperty, MeansWhatItSaysInEverySpelling, ()) {
  const std::vector<std::string> keys = {"a", "os.id", "in", "x/y-z"};
  const std::vector<std::string> words = {"1", "debian", "notin", "a:b@c+d"};
  const auto word = [](const std::vector<std::string>& from) {
    return from[draw_between<std::size_t>(0, from.size() - 1)];
  };
  std::vector<Term> terms;
  for (int i = draw_between(0, 4); i > 0; --i) {
    Term term{draw_between(0, 3), word(keys), {}};
    for (int v = draw_between(1, 3); v > 0; --v) term.values.push_back(word(words));
    terms.push_back(std::move(term));
  }
  LabelMap labels;
  for (const std::string& key : keys) {
    if (draw_chance(60)) labels[key] = word(words);
  }
  std::vector<std::string> texts;
  bool expected = true;
  for (const Term& term : terms) {
    texts.push_back(term.text());
    expected = expected && term.matches(labels);
  }
  const std::string text = join(texts, ",");
  RC_LOG() << text;
  const auto selector = Selector::parse(text);
  RC_ASSERT(selector.has_value());
  RC_ASSERT(selector->matches(labels) == expected);
  // It is printed as it was written, and means the same again.
  RC_ASSERT(selector->text() == text);
  RC_ASSERT(Selector::parse(selector->text())->matches(labels) == expected);
}

RC_GTEST_PROP(TextProperty, SplittingAndJoiningAreInverse, (const std::string& text)) {
  RC_ASSERT(join(split(text, ','), ",") == text);
}

// Applied to the text before, the '-' and '+' lines of a diff give the text after.
RC_GTEST_PROP(TextProperty, ADiffNamesEveryLineThatDiffers, ()) {
  const auto lines = [] {
    std::vector<std::string> out;
    for (int i = draw_between(0, 12); i > 0; --i) out.push_back(std::to_string(draw_between(0, 4)));
    return out;
  };
  const std::vector<std::string> before = lines();
  const std::vector<std::string> after = lines();
  std::map<std::string, int> balance;  // after minus before, by line
  for (const std::string& line : before) --balance[line];
  for (const std::string& line : after) ++balance[line];
  const auto text = [](const std::vector<std::string>& parts) {
    return parts.empty() ? std::string() : join(parts, "\n") + "\n";
  };
  for (const std::string& line : split(unified_diff(text(before), text(after)), '\n')) {
    if (line.starts_with("@@") || line.empty() || line[0] == ' ') continue;
    balance[line.substr(1)] -= line[0] == '+' ? 1 : -1;
  }
  for (const auto& [line, count] : balance) RC_ASSERT(count == 0);
  RC_ASSERT(unified_diff(text(before), text(after)).empty() == (before == after));
}

}  // namespace
}  // namespace consort

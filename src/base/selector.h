// Label selectors: `os.id in (debian,ubuntu), arch=amd64, !gpu`. Comma means and. Terms:
//   key in (a,b)   key notin (a,b)   key=value   key==value   key!=value   key   !key
// A term over an undefined key is false, except `!key`. The empty selector matches everything.
// Syntax follows Kubernetes label selectors; the rule for undefined keys is Consort's own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace consort {

using LabelMap = std::map<std::string, std::string, std::less<>>;

class Selector {
 public:
  // Bounds: 4096 bytes, 64 terms. Error: invalid_input, with the column of the mistake.
  [[nodiscard]] static Result<Selector> parse(std::string_view text);

  using Lookup = std::function<std::optional<std::string>(std::string_view key)>;
  [[nodiscard]] bool matches(const Lookup& lookup) const;
  [[nodiscard]] bool matches(const LabelMap& labels) const;

  [[nodiscard]] std::set<std::string> keys() const;  // that it looks at
  [[nodiscard]] bool empty() const { return terms_.empty(); }
  // The text it was parsed from.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  enum class Operator : std::uint8_t { in, not_in, exists, absent };
  struct Term {
    std::string key;
    Operator op = Operator::exists;
    std::vector<std::string> values;
  };
  class Parser;

  std::string text_;
  std::vector<Term> terms_;
};

}  // namespace consort

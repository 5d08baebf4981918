#include "base/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace consort {
namespace {

constexpr std::size_t kMaxBytes = 4096;
constexpr std::size_t kMaxTerms = 64;

bool is_word_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("._/-:@+").find(c) != std::string_view::npos;
}

}  // namespace

class Selector::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Term>> terms() {
    std::vector<Term> out;
    skip_space();
    if (done()) return out;
    while (true) {
      out.push_back(TRY(term()));
      if (out.size() > kMaxTerms) return mistake(fmt::format("more than {} terms", kMaxTerms));
      skip_space();
      if (done()) return out;
      if (!take(',')) return mistake("expected ',' between terms");
    }
  }

 private:
  Result<Term> term() {
    Term out;
    skip_space();
    if (take('!')) {
      out.op = Operator::absent;
      skip_space();
      out.key = TRY(word("a label name"));
      return out;
    }
    out.key = TRY(word("a label name"));
    skip_space();
    if (take('!')) {
      if (!take('=')) return mistake("expected '!='");
      out.op = Operator::not_in;
      return value_of(std::move(out));
    }
    if (take('=')) {
      take('=');
      out.op = Operator::in;
      return value_of(std::move(out));
    }
    if (done() || peek() == ',') return out;
    const std::string op = TRY(word("'in' or 'notin'"));
    if (op != "in" && op != "notin")
      return mistake(fmt::format("'{}' is no operator; use in, notin, = or !=", op));
    out.op = op == "in" ? Operator::in : Operator::not_in;
    return set_of(std::move(out));
  }

  Result<Term> value_of(Term out) {
    skip_space();
    // `key=` asks for the empty value.
    std::size_t end = at_;
    while (end < text_.size() && is_word_character(text_[end])) ++end;
    out.values.emplace_back(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }

  Result<Term> set_of(Term out) {
    skip_space();
    if (!take('(')) return mistake("expected '(' before the list of values");
    while (true) {
      skip_space();
      out.values.push_back(TRY(word("a value")));
      skip_space();
      if (take(')')) return out;
      if (!take(',')) return mistake("expected ',' or ')' in the list of values");
    }
  }

  Result<std::string> word(std::string_view what) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_word_character(text_[at_])) ++at_;
    if (at_ == begin) return mistake(fmt::format("expected {}", what));
    return std::string(text_.substr(begin, at_ - begin));
  }

  Failure mistake(std::string_view what) const {
    return fail(ErrorCode::invalid_input,
                fmt::format("bad selector '{}': {} at column {}", text_, what, at_ + 1))
        .hint("write for example: os.id in (debian,ubuntu), arch=amd64, !gpu");
  }
  [[nodiscard]] bool done() const { return at_ == text_.size(); }
  [[nodiscard]] char peek() const { return text_[at_]; }
  bool take(char c) {
    if (done() || peek() != c) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (!done() && std::isspace(static_cast<unsigned char>(peek())) != 0) ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Result<Selector> Selector::parse(std::string_view text) {
  if (text.size() > kMaxBytes)
    return fail(ErrorCode::too_large, fmt::format("a selector has at most {} bytes, this one {}",
                                                  kMaxBytes, text.size()));
  Selector out;
  out.text_ = text;
  out.terms_ = TRY(Parser(text).terms());
  return out;
}

std::set<std::string> Selector::keys() const {
  std::set<std::string> out;
  for (const Term& term : terms_) out.insert(term.key);
  return out;
}

bool Selector::matches(const Lookup& lookup) const {
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    const std::optional<std::string> value = lookup(term.key);
    if (term.op == Operator::absent) return !value;
    if (!value) return false;
    if (term.op == Operator::exists) return true;
    const bool listed =
        std::find(term.values.begin(), term.values.end(), *value) != term.values.end();
    return listed == (term.op == Operator::in);
  });
}

bool Selector::matches(const LabelMap& labels) const {
  return matches([&](std::string_view key) -> std::optional<std::string> {
    const auto it = labels.find(key);
    if (it == labels.end()) return std::nullopt;
    return it->second;
  });
}

}  // namespace consort

// Many short texts in one, for hosts with many files: each takes five bytes more than it is long.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace consort::agent {

class PackedTexts {
 public:
  // Of at most 4 GiB together, and no NUL in them.
  void add(std::string_view text) {
    assert(text.find('\0') == std::string_view::npos);
    assert(text_.size() <= UINT32_MAX);
    begins_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_.append(text).push_back('\0');
  }
  void shrink_to_fit() {
    text_.shrink_to_fit();
    begins_.shrink_to_fit();
  }
  [[nodiscard]] std::size_t size() const { return begins_.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    return text_.c_str() + begins_[i];
  }
  friend bool operator==(const PackedTexts&, const PackedTexts&) = default;

 private:
  std::string text_;
  std::vector<std::uint32_t> begins_;
};

}  // namespace consort::agent

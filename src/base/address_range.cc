#include "base/address_range.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/text.h"

namespace consort {
namespace {

constexpr std::size_t kLongestAddress = 64;
constexpr std::size_t kLongestName = 253;
constexpr std::size_t kLongestLabel = 63;
constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// The bits of byte `index` that belong to a network with this prefix.
std::uint8_t mask_of(int prefix, std::size_t index) {
  const int bits = std::clamp(prefix - static_cast<int>(index) * 8, 0, 8);
  return static_cast<std::uint8_t>(0xff00U >> static_cast<unsigned>(bits));
}

Failure no_address(std::string_view text) {
  return fail(ErrorCode::invalid_input,
              fmt::format("'{}' is no IP address and no network", text.substr(0, kLongestAddress)))
      .hint("write it like 10.0.0.7, 10.0.0.0/8 or fd00::/8; names are not resolved here");
}

}  // namespace

Result<AddressRange> AddressRange::parse(std::string_view text) {
  if (text.size() > kLongestAddress) return no_address(text);
  // What follows a NUL would not be looked at.
  if (text.find('\0') != std::string_view::npos) return no_address("…");
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  AddressRange out;
  out.v6_ = address.find(':') != std::string::npos;
  if (::inet_pton(out.v6_ ? AF_INET6 : AF_INET, address.c_str(), out.bytes_.data()) != 1)
    return no_address(text);
  int width = out.v6_ ? 128 : 32;
  out.prefix_ = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, problem] =
        std::from_chars(digits.data(), digits.data() + digits.size(), out.prefix_);
    if (problem != std::errc() || end != digits.data() + digits.size() || out.prefix_ < 0 ||
        out.prefix_ > width)
      return no_address(text);
  }
  if (out.v6_ && out.prefix_ >= 96 &&
      std::equal(kMapped.begin(), kMapped.end(), out.bytes_.begin())) {
    std::copy(out.bytes_.begin() + 12, out.bytes_.end(), out.bytes_.begin());
    std::fill(out.bytes_.begin() + 4, out.bytes_.end(), std::uint8_t{0});
    out.v6_ = false;
    out.prefix_ -= 96;
  }
  AddressRange masked = out;
  for (std::size_t i = 0; i < masked.bytes_.size(); ++i)
    masked.bytes_.at(i) = masked.bytes_.at(i) & mask_of(masked.prefix_, i);
  if (masked != out)
    return fail(ErrorCode::invalid_input, fmt::format("'{}' has bits behind its prefix", text))
        .hint(fmt::format("the network is {}; one address has no prefix", masked.str()));
  return out;
}

bool AddressRange::contains(const AddressRange& other) const {
  if (v6_ != other.v6_ || prefix_ > other.prefix_) return false;
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    if ((other.bytes_.at(i) & mask_of(prefix_, i)) != bytes_.at(i)) return false;
  }
  return true;
}

std::string AddressRange::str() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(v6_ ? AF_INET6 : AF_INET, bytes_.data(), text.data(), text.size());
  return is_one_address() ? std::string(text.data()) : fmt::format("{}/{}", text.data(), prefix_);
}

bool is_address_or_name(std::string_view text) {
  const auto range = AddressRange::parse(text);
  if (range) return range->is_one_address() && text.find('/') == std::string_view::npos;
  if (text.empty() || text.size() > kLongestName) return false;
  // A mistyped address; what resolves names would take "10.1" for 10.0.0.1.
  const std::string_view last = text.substr(text.rfind('.') + 1);
  if (last.find_first_not_of("0123456789") == std::string_view::npos) return false;
  for (const std::string& label : split(text, '.')) {
    const auto good = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
    if (label.empty() || label.size() > kLongestLabel || label.front() == '-' ||
        label.back() == '-' || !std::all_of(label.begin(), label.end(), good))
      return false;
  }
  return true;
}

std::vector<AddressRange> without_overlaps(std::vector<AddressRange> ranges) {
  // A network sorts before all that lies inside it.
  std::sort(ranges.begin(), ranges.end());
  std::vector<AddressRange> out;
  for (AddressRange& range : ranges) {
    if (out.empty() || !out.back().contains(range)) out.push_back(range);
  }
  return out;
}

}  // namespace consort

// An IP address or a network in CIDR notation (RFC 4632, RFC 4291): what may be written where
// others are let in. A value; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace consort {

class AddressRange {
 public:
  // "10.0.0.7", "10.0.0.0/8", "fd00::/8". An IPv4 address inside IPv6 (::ffff:10.0.0.7) is IPv4.
  // Error invalid_input: no address, a prefix that is too long, bits set behind the prefix (with
  // the network that was most likely meant).
  [[nodiscard]] static Result<AddressRange> parse(std::string_view text);

  [[nodiscard]] bool is_v6() const { return v6_; }
  [[nodiscard]] bool is_one_address() const { return prefix_ == (v6_ ? 128 : 32); }
  [[nodiscard]] bool contains(const AddressRange& other) const;
  // Canonical: one text per range; a single address has no "/32".
  [[nodiscard]] std::string str() const;
  friend auto operator<=>(const AddressRange&, const AddressRange&) = default;

 private:
  AddressRange() = default;
  bool v6_ = false;
  std::array<std::uint8_t, 16> bytes_{};  // the first four of IPv4
  int prefix_ = 0;
};

// What a host may be reached by: one IP address, or a DNS name (RFC 1123, and '_' as host names of
// the site have it). No name ends with a number: that is an address which is wrong.
[[nodiscard]] bool is_address_or_name(std::string_view text);

// Sorted, without those that lie inside others: no two overlap.
[[nodiscard]] std::vector<AddressRange> without_overlaps(std::vector<AddressRange> ranges);

}  // namespace consort

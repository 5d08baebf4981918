// Admissions as rules of nftables, and back: what to write, what a listing says. Pure.
//
// One table of our own, `inet consort`, written as a whole. Its chain looks at the first packet of
// a TCP connection (SYN without ACK) and at no other: connections that stand, answers to our own,
// the agent's way to its controller and every port that nobody declared pass without being asked
// about. So no connection tracking is needed. Strangers are remembered for an hour in a set of the
// table. Source: nft(8).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "plan/admission.h"

namespace consort::agent {

inline constexpr std::string_view kAccessTable = "consort";

// What `nft -f -` is to read: replaces the table in one transaction; removes it when there are no
// admissions. Sources are as admissions_from_json() made them.
[[nodiscard]] std::string access_rules(const plan::Admissions& admissions);

// Of `nft -j list table inet consort`: one line per object and element, without what changes by
// itself (handles, counters, strangers); sorted where order means nothing. Two listings of the same
// rules are equal.
[[nodiscard]] std::vector<std::string> listed_rules(const Json& listing);
// What a listing lacks to keep what these admissions promise: the chain at the host's input, the
// way from it to every port, what is refused there, the sets of those who may. "" when all of it is
// there. Of the addresses in a set only that there are some: nft joins and splits them as it likes.
[[nodiscard]] std::string missing_rules(const Json& listing, const plan::Admissions& admissions);
// What `now` lacks and has too much, for people; "" when they are equal.
[[nodiscard]] std::string rules_difference(const std::vector<std::string>& wanted,
                                           const std::vector<std::string>& now);

struct Stranger {
  std::string address;
  std::int64_t port = 0;
  std::int64_t packets = 0;
  friend bool operator==(const Stranger&, const Stranger&) = default;
};
// Who tried within the last hour although nothing declares it.
[[nodiscard]] std::vector<Stranger> listed_strangers(const Json& listing);
// Whether there were so many that further ones are refused, and not remembered.
[[nodiscard]] bool is_full_of_strangers(const Json& listing);

}  // namespace consort::agent

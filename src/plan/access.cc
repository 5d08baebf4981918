#include "plan/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/address_range.h"
#include "base/json_reader.h"
#include "base/text.h"

namespace consort::plan {
namespace {

using EndpointKey = std::pair<std::string, std::string>;  // service, endpoint

// How an instance is seen, whoever says that it is there.
struct Presence {
  const std::string* service;
  const ServiceRecord* record;
  const std::vector<std::string>* hosts;
};

// A host has an address, not a network: what it says of itself must not let others in.
std::optional<AddressRange> address_in(const std::string& text) {
  const auto range = AddressRange::parse(text);
  return range && range->is_one_address() ? std::optional(*range) : std::nullopt;
}

class Derivation {
 public:
  explicit Derivation(const AccessInput& input) : in_(input) {
    for (const Generation* generation : in_.generations) {
      for (const auto& [name, record] : generation->services)
        present_.push_back({&name, &record, &record.hosts});
    }
    alone_.reserve(in_.still.size());
    for (const StillRunning& item : in_.still) {
      alone_.push_back({item.host});
      present_.push_back({&item.service, item.record, &alone_.back()});
    }
  }

  std::map<std::string, Admissions> make() {
    find_guarded();
    if (ranges_.empty()) return {};
    admit_dependents();
    for (auto& [key, ranges] : ranges_) ranges = without_overlaps(std::move(ranges));
    for (const Presence& provider : present_) offer(provider);
    std::map<std::string, Admissions> out;
    for (auto& [place, draft] : ports_) {
      if (draft.admission.mode == AccessMode::off) continue;
      for (const AddressRange& range : without_overlaps(std::move(draft.ranges)))
        draft.admission.sources.push_back(range.str());
      out[place.first].push_back(std::move(draft.admission));
    }
    return out;
  }

 private:
  struct Draft {
    Admission admission;
    std::vector<AddressRange> ranges;
  };

  // Of each endpoint that somebody guards: the addresses that may beside the dependents.
  void find_guarded() {
    for (const Presence& provider : present_) {
      for (const auto& [name, endpoint] : provider.record->endpoints) {
        if (endpoint.access == AccessMode::off) continue;
        auto& ranges = ranges_[{*provider.service, name}];
        for (const std::string& text : endpoint.also) {
          if (auto range = AddressRange::parse(text)) ranges.push_back(*range);
        }
      }
    }
  }

  void admit_dependents() {
    for (const Presence& dependent : present_) {
      for (const Edge& edge : dependent.record->edges) {
        const auto guarded = edge.kind == Edge::Kind::after
                                 ? ranges_.end()
                                 : ranges_.find({edge.service, edge.endpoint});
        if (guarded == ranges_.end()) continue;
        for (const std::string& host : *dependent.hosts) {
          const auto& own = addresses_of(host);
          guarded->second.insert(guarded->second.end(), own.begin(), own.end());
        }
      }
    }
  }

  // While an address changes both count.
  const std::vector<AddressRange>& addresses_of(const std::string& host) {
    const auto [it, made] = addresses_.try_emplace(host);
    if (!made) return it->second;
    for (const Generation* generation : in_.generations) {
      const auto record = generation->hosts.find(host);
      if (record == generation->hosts.end()) continue;
      if (auto own = address_in(record->second.address)) it->second.push_back(*own);
    }
    const auto told = in_.told.find(host);
    if (it->second.empty() && told != in_.told.end()) {
      if (auto own = address_in(told->second)) it->second.push_back(*own);
    }
    return it->second;
  }

  // What two claim at the same time is as open as the more open of them wants it.
  void offer(const Presence& provider) {
    for (const auto& [name, endpoint] : provider.record->endpoints) {
      const auto allowed = ranges_.find({*provider.service, name});
      for (const std::string& host : *provider.hosts) {
        const auto [it, made] = ports_.try_emplace({host, endpoint.port});
        Admission& admission = it->second.admission;
        admission.mode = made ? endpoint.access : std::min(admission.mode, endpoint.access);
        admission.port = endpoint.port;
        admission.service = *provider.service;
        admission.endpoint = name;
        if (allowed != ranges_.end())
          it->second.ranges.insert(it->second.ranges.end(), allowed->second.begin(),
                                   allowed->second.end());
      }
    }
  }

  const AccessInput& in_;
  std::vector<Presence> present_;
  std::vector<std::vector<std::string>> alone_;
  std::map<EndpointKey, std::vector<AddressRange>> ranges_;  // of guarded endpoints
  std::map<std::string, std::vector<AddressRange>> addresses_;
  std::map<std::pair<std::string, std::int64_t>, Draft> ports_;  // host, port
};

AccessSource source_of(const Generation& generation, const std::string& host) {
  const auto record = generation.hosts.find(host);
  if (record == generation.hosts.end() || record->second.address == host) return {host, ""};
  return {host, record->second.address};
}

void make_set(auto& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

// Of every service at once: dependents are found in one walk over the edges.
std::map<EndpointKey, Reach> all_reaches(const Generation& generation) {
  std::map<EndpointKey, Reach> out;
  for (const auto& [name, record] : generation.services) {
    for (const auto& [endpoint, value] : record.endpoints) {
      Reach reach{name, endpoint, value.port, value.access, record.hosts, {}, {}};
      for (const std::string& range : value.also) reach.who.push_back({"", range});
      out.emplace(EndpointKey{name, endpoint}, std::move(reach));
    }
  }
  for (const auto& [name, record] : generation.services) {
    for (const Edge& edge : record.edges) {
      const auto it =
          edge.kind == Edge::Kind::after ? out.end() : out.find({edge.service, edge.endpoint});
      if (it == out.end()) continue;
      it->second.dependents.push_back(name);
      for (const std::string& host : record.hosts)
        it->second.who.push_back(source_of(generation, host));
    }
  }
  for (auto& [key, reach] : out) {
    make_set(reach.dependents);
    make_set(reach.who);
  }
  return out;
}

template <class T>
std::vector<T> missing_in(const std::vector<T>& all, const std::vector<T>& some) {
  std::vector<T> out;
  std::set_difference(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(out));
  return out;
}

std::string_view mode_word(AccessMode mode) {
  return mode == AccessMode::off     ? "open to all"
         : mode == AccessMode::audit ? "audited"
                                     : "enforced";
}

constexpr std::size_t kShown = 6;

std::string list_text(const std::vector<std::string>& names) {
  const std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)));
  return join(shown, ", ") +
         (names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

std::string list_text(const std::vector<AccessSource>& sources) {
  std::vector<std::string> texts;
  for (const AccessSource& source : sources) texts.push_back(access_source_text(source));
  return list_text(texts);
}

// The port that `old` has guarded is nobody's concern any more.
AccessChange opened(const Reach& old) {
  AccessChange out;
  out.service = old.service;
  out.endpoint = old.endpoint;
  out.port = old.port;
  out.before = old.mode;
  return out;
}

// nullopt when nothing changes. `old` is null where the endpoint, or this port of it, is new.
std::optional<AccessChange> change_of(const Reach* old, const Reach& now) {
  AccessChange change;
  change.service = now.service;
  change.endpoint = now.endpoint;
  change.port = now.port;
  change.after = now.mode;
  if (old != nullptr) change.before = old->mode;
  const bool was_guarded = old != nullptr && change.before != AccessMode::off;
  if (change.after != AccessMode::off) {
    change.gained = was_guarded ? missing_in(now.who, old->who) : now.who;
    change.places = was_guarded ? missing_in(now.hosts, old->hosts) : now.hosts;
    if (was_guarded) change.lost = missing_in(old->who, now.who);
  }
  const bool differs = change.before != change.after || !change.gained.empty() ||
                       !change.lost.empty() || !change.places.empty();
  return differs ? std::optional(std::move(change)) : std::nullopt;
}

Json sources_to_json(const std::vector<AccessSource>& sources) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  Json out = Json::array();
  for (const AccessSource& source : sources)
    out.push_back(
        Json::object({{"host", or_null(source.host)}, {"address", or_null(source.address)}}));
  return out;
}

Result<std::vector<AccessSource>> sources_from_json(const Json::Array& items,
                                                    const std::string& path) {
  std::vector<AccessSource> out;
  for (const Json& item : items) {
    // Plans that were stored before hosts had a member of their own: a text, and nobody's host.
    if (item.is_string()) {
      out.push_back({"", item.as_string()});
      continue;
    }
    JsonReader reader(item, path);
    out.push_back({reader.string("host", ""), reader.string("address", "")});
    TRYV(reader.finish(UnknownMembers::ignore));
  }
  return out;
}

}  // namespace

std::string access_source_text(const AccessSource& source) {
  if (source.host.empty()) return source.address;
  if (source.address.empty()) return source.host;
  return fmt::format("{} ({})", source.host, source.address);
}

std::map<std::string, Admissions> admissions(const AccessInput& input) {
  return Derivation(input).make();
}

bool guards_access(const Generation& generation) {
  for (const auto& [name, record] : generation.services) {
    for (const auto& [endpoint, value] : record.endpoints) {
      if (value.access != AccessMode::off) return true;
    }
  }
  return false;
}

std::vector<Reach> reach_of(const Generation& generation, const std::string& service) {
  std::vector<Reach> out;
  for (auto& [key, reach] : all_reaches(generation)) {
    if (key.first == service) out.push_back(std::move(reach));
  }
  return out;
}

std::vector<AccessChange> access_changes(const Generation* base, const Generation& after) {
  static const std::map<EndpointKey, Reach> nothing;
  const bool guarded = guards_access(after) || (base != nullptr && guards_access(*base));
  if (!guarded) return {};
  const auto old = base != nullptr ? all_reaches(*base) : nothing;
  const auto now = all_reaches(after);
  std::map<EndpointKey, std::vector<AccessChange>> changes;
  for (const auto& [key, reach] : old) {
    const auto it = now.find(key);
    if (reach.mode != AccessMode::off && (it == now.end() || it->second.port != reach.port))
      changes[key].push_back(opened(reach));
  }
  for (const auto& [key, reach] : now) {
    const auto it = old.find(key);
    const bool known = it != old.end() && it->second.port == reach.port;
    if (auto change = change_of(known ? &it->second : nullptr, reach))
      changes[key].push_back(std::move(*change));
  }
  std::vector<AccessChange> out;
  for (auto& [key, list] : changes) std::move(list.begin(), list.end(), std::back_inserter(out));
  return out;
}

std::string access_change_text(const AccessChange& change) {
  std::string out = fmt::format("{}/{} (port {}), ", change.service, change.endpoint, change.port);
  if (change.before != change.after) out += fmt::format("{} → ", mode_word(change.before));
  out += mode_word(change.after);
  if (change.after == AccessMode::off) return out;
  if (change.before == AccessMode::off) {
    return out + (change.gained.empty() ? ": only the host itself"
                                        : ": from " + list_text(change.gained));
  }
  std::vector<std::string> parts;
  if (!change.gained.empty()) parts.push_back("now also from " + list_text(change.gained));
  if (!change.lost.empty()) parts.push_back("no longer from " + list_text(change.lost));
  if (!change.places.empty()) parts.push_back("now also on " + list_text(change.places));
  return out + (parts.empty() ? "" : ": ") + join(parts, "; ");
}

Json access_change_to_json(const AccessChange& change) {
  return Json::object({{"service", change.service},
                       {"endpoint", change.endpoint},
                       {"port", change.port},
                       {"before", access_mode_name(change.before)},
                       {"after", access_mode_name(change.after)},
                       {"gained", sources_to_json(change.gained)},
                       {"lost", sources_to_json(change.lost)},
                       {"places", Json::array_of(change.places)}});
}

Result<AccessChange> access_change_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  AccessChange out;
  out.service = reader.string("service");
  out.endpoint = reader.string("endpoint");
  out.port = reader.integer("port", 0, 0, 65535);
  out.before = TRY(access_mode_from_name(reader.string("before", "off")));
  out.after = TRY(access_mode_from_name(reader.string("after", "off")));
  out.gained = TRY(sources_from_json(reader.array("gained"), path + ".gained"));
  out.lost = TRY(sources_from_json(reader.array("lost"), path + ".lost"));
  out.places = reader.strings("places");
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

}  // namespace consort::plan

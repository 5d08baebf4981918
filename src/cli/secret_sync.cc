// consort secret sync: values that the site declares a source of, brought to the controller where
// they differ from what is there.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/process.h"
#include "base/text.h"
#include "cli/rows.h"
#include "cli/secret_sealing.h"
#include "cli/secret_value.h"
#include "cli/seen.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

enum class Outcome : std::uint8_t { set, resealed, unchanged, unused, failed };
constexpr std::array<std::string_view, 5> kOutcomeNames = {"set", "resealed", "unchanged", "unused",
                                                           "failed"};

struct Synced {
  Outcome outcome = Outcome::failed;
  std::uint64_t version = 0;  // there is then; 0: none
  std::string reason;
  std::vector<std::string> missing;
  std::vector<std::string> revoked;
  bool is_signed = false;
  std::optional<Error> error;
};

// What a version must have that the newest one has not: "host web2, service shop"; "": nothing.
std::string lacking(const SecretFacts& facts, const SecretUsers& users,
                    const std::vector<std::string>& recovery) {
  std::vector<std::string> out;
  for (const std::string& service : users.services) {
    if (!facts.services.contains(service)) out.push_back("service " + service);
  }
  for (const std::string& host : users.hosts) {
    if (facts.keys.contains(host) && !facts.hosts.contains(host)) out.push_back("host " + host);
  }
  for (const std::string& key : recovery) {
    if (std::find(facts.recovery.begin(), facts.recovery.end(), key) == facts.recovery.end())
      out.push_back("operator " + key.substr(0, 15) + "…");
  }
  constexpr std::size_t kMost = 5;
  if (out.size() > kMost) {
    out[kMost] = fmt::format("{} more", out.size() - kMost);
    out.resize(kMost + 1);
  }
  return join(out, ", ");
}

class Sync {
 public:
  Sync(const Arguments& arguments, http::Client& client, const Prepared& site, SecretUses uses,
       crypto::PrivateKey own)
      : arguments_(arguments),
        client_(client),
        site_(site.site),
        uses_(std::move(uses)),
        own_(std::move(own)) {}

  // A source that fails does not stop the others.
  Synced bring(const std::string& name) {
    auto done = try_to_bring(name, site_.secrets.at(name));
    if (done) return std::move(*done);
    Synced out;
    out.error = std::move(done).error().context("syncing the secret " + name);
    return out;
  }

 private:
  Result<Synced> try_to_bring(const std::string& name, const site::SecretSource& source) {
    const SecretFacts facts = TRY(ask_secret(client_, name));
    const SecretUsers users = secret_users(arguments_, uses_, facts);
    Synced out;
    out.version = facts.version.value_or(0);
    if (users.services.empty()) {
      out.outcome = Outcome::unused;
      return out;
    }
    const crypto::SecretBytes value =
        TRY(value_of_source(name, source, site_.file.parent_path(), own_));
    const std::vector<std::string> recovery = TRY(recovery_keys(arguments_, own_, facts.recovery));
    if (!signers_) signers_ = TRY(secret_signers(users.site, facts.partition));
    std::optional<NewestSecret> newest;
    out.outcome = TRY(compare(facts, value, newest, out.reason));
    if (out.outcome == Outcome::unchanged) {
      if (out.reason.empty()) out.reason = lacking(facts, users, recovery);
      if (out.reason.empty()) return out;
      out.outcome = Outcome::resealed;
      TRYV(check_stays_signed(*signers_, *newest));
    }
    out.version =
        out.outcome == Outcome::set ? TRY(next_version(*signers_, facts)) : *facts.version;
    if (arguments_.has("--dry-run")) return out;
    Sent sent = TRY(seal_and_send(client_, facts, users, recovery, *signers_, value, out.version,
                                  out.outcome == Outcome::set ? Sending::set : Sending::reseal));
    out.missing = std::move(sent.missing);
    out.revoked = std::move(sent.revoked);
    out.is_signed = !sent.secret.signatures.empty();
    return out;
  }

  // Whether a new version is needed, and why; or why the newest one, which has this value, must be
  // sealed anew. `newest` gets what could be opened.
  Result<Outcome> compare(const SecretFacts& facts, const crypto::SecretBytes& value,
                          std::optional<NewestSecret>& newest, std::string& why) {
    why = "it was not there";
    if (!facts.version) return Outcome::set;
    if (signers_->list) {
      const std::uint64_t seen = TRY(last_seen_secret(*signers_->list, facts.name));
      why = fmt::format("version {} is older than {}, which you have signed", *facts.version, seen);
      if (*facts.version < seen) return Outcome::set;
    }
    auto opened = open_newest(client_, facts, own_);
    if (opened) {
      newest = std::move(*opened);
      why = newest->value == value ? "" : "another value";
      if (!why.empty()) return Outcome::set;
      // Without a key it would have none afterwards either.
      if (!signers_->keys.empty() && !check_newest(*signers_, facts, *newest)) why = "a signature";
      return Outcome::unchanged;
    }
    switch (opened.error().code()) {
      case ErrorCode::refused:
        why = fmt::format("version {} is not sealed for your recovery key", *facts.version);
        return Outcome::set;
      case ErrorCode::corrupt:
      case ErrorCode::invalid_input:
        why = fmt::format("version {} cannot be opened: {}", *facts.version,
                          opened.error().message());
        return Outcome::set;
      default:
        return fail(opened.error());
    }
  }

  const Arguments& arguments_;
  http::Client& client_;
  const site::Site& site_;
  SecretUses uses_;
  crypto::PrivateKey own_;
  std::optional<SecretSigners> signers_;  // opened once
};

std::string line_of(const std::string& name, const Synced& synced, bool is_rehearsal) {
  const std::string_view would = is_rehearsal ? "would be " : "";
  const std::string_view is_signed = synced.is_signed ? ", signed" : "";
  switch (synced.outcome) {
    case Outcome::set:
      return fmt::format("{}: version {} {}set ({}){}", name, synced.version, would, synced.reason,
                         is_signed);
    case Outcome::resealed:
      return fmt::format("{}: version {} {}resealed, for {}{}", name, synced.version, would,
                         synced.reason, is_signed);
    case Outcome::unchanged:
      return fmt::format("{}: unchanged, version {}", name, synced.version);
    case Outcome::unused:
      return fmt::format("{}: no service uses it", name);
    case Outcome::failed:
      return fmt::format("{}: failed", name);
  }
  return name;
}

Json record_of(const std::string& name, const Synced& synced) {
  return Json::object({{"name", name},
                       {"outcome", kOutcomeNames[static_cast<std::size_t>(synced.outcome)]},
                       {"version", synced.version == 0 ? Json() : Json(synced.version)},
                       {"reason", synced.reason},
                       {"missing", Json::array_of(synced.missing)},
                       {"revoked", Json::array_of(synced.revoked)},
                       {"signed", synced.is_signed},
                       {"error", synced.error ? error_to_json(*synced.error) : Json()}});
}

Result<std::vector<std::string>> chosen_names(const Arguments& arguments, const site::Site& site) {
  for (const std::string& name : arguments.words) {
    if (site.secrets.contains(name)) continue;
    const std::string guess = did_you_mean(name, site.secrets);
    return fail(ErrorCode::not_found,
                fmt::format("the site says of no secret '{}' where its value comes from",
                            name.substr(0, 80)))
        .hint(guess.empty() ? "declare it: secrets: { NAME: { exec: […] } }; or give its value: "
                              "consort secret set NAME"
                            : fmt::format("did you mean '{}'?", guess));
  }
  std::set<std::string> out(arguments.words.begin(), arguments.words.end());
  if (out.empty()) {
    for (const auto& [name, source] : site.secrets) out.insert(name);
  }
  return std::vector<std::string>(out.begin(), out.end());
}

void tell(const std::string& name, const Synced& synced, bool is_rehearsal) {
  print(line_of(name, synced, is_rehearsal) + "\n");
  print(unsealed_text(name, synced.missing, synced.revoked, "  "));
  if (synced.error) print_error(*synced.error);
}

Result<int> run_sync(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  std::vector<Error> mistakes;
  const Prepared site = TRY(prepare(arguments, &client, &mistakes, SecretChecks::unasked));
  const std::vector<std::string> names = TRY(chosen_names(arguments, site.site));
  const crypto::PrivateKey own = TRY(recovery_key());
  Sync sync(arguments, client, site, TRY(secret_uses(client, &site)), own);
  const bool is_rehearsal = arguments.has("--dry-run");
  std::array<std::int64_t, kOutcomeNames.size()> totals{};
  bool is_for_deploy = false;
  Json records = Json::array();
  for (const std::string& name : names) {
    const Synced synced = sync.bring(name);
    ++totals.at(static_cast<std::size_t>(synced.outcome));
    is_for_deploy = is_for_deploy || (synced.outcome == Outcome::set && synced.version > 1);
    records.push_back(record_of(name, synced));
    if (!arguments.json()) tell(name, synced, is_rehearsal);
  }
  std::vector<std::string> sums;
  Json out = Json::object({{"dryRun", is_rehearsal}, {"secrets", records}});
  for (std::size_t i = 0; i < totals.size(); ++i) {
    out[kOutcomeNames.at(i)] = totals.at(i);
    const auto outcome = static_cast<Outcome>(i);
    const bool would = is_rehearsal && (outcome == Outcome::set || outcome == Outcome::resealed);
    if (totals.at(i) > 0)
      sums.push_back(
          fmt::format("{} {}{}", totals.at(i), would ? "would be " : "", kOutcomeNames.at(i)));
  }
  if (arguments.json()) {
    print(out.dump() + "\n");
  } else if (names.empty()) {
    print(
        "the site says of no secret where its value comes from; for example: secrets: { 'db': { "
        "exec: ['pass', 'show', 'db'] } }\n");
  } else {
    print(join(sums, ", ") + (is_rehearsal ? "; nothing was changed\n" : "\n"));
    if (is_for_deploy && !is_rehearsal) print("new versions take effect with the next deploy\n");
  }
  return totals[static_cast<std::size_t>(Outcome::failed)] > 0 ? kError : kOk;
}

}  // namespace

Command secret_sync_command() {
  return {"secret sync",
          "Bring values whose source the site declares to the controller, where they differ.",
          "Runs the programs and opens the encrypted files of `secrets` in the site on this "
          "machine, compares each value with the newest version, and seals a new version only "
          "where it differs, or the same anew where hosts, services or operators came later. What "
          "fails does not stop the others; exit status 1 then. Nothing of a value is shown.",
          {{"SECRET", "Only these; default: all that the site declares.", Positional::Count::many}},
          {site_option(),
           recipient_option(),
           {"--dry-run", "", "Say what would be done, change nothing."}},
          run_sync,
          false,
          false,
          "consort secret sync --dry-run"};
}

}  // namespace consort::cli

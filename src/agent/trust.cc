#include "agent/trust.h"

#include <fmt/format.h>

#include "base/log.h"

namespace consort::agent {
namespace {

// The caller keeps it while it is looked at: it refers to the core's target.
signing::HostNow host_now(const std::string& host, const Core& core) {
  signing::HostNow now;
  now.host = host;
  now.held = &core.target();
  for (const auto& [service, instance] : core.instances()) {
    const bool changing = instance.transition || instance.owed || instance.loading;
    now.services.emplace(service, signing::Present{instance.applied, changing});
  }
  return now;
}

Result<signing::TrustList> read_list(const fs::path& file) {
  auto list = signing::trust_list_from_text(TRY(read_file(file, signing::kTrustListBytes)));
  if (!list) return fail(std::move(list).error().context("in " + file.string()));
  return list;
}

}  // namespace

Result<Trust> Trust::open(const fs::path& data, const fs::path& list) {
  Trust out;
  out.accepted_file_ = data / "state/accepted.json";
  const fs::path kept = data / "trust.json";
  if (!list.empty()) {
    const signing::TrustList given = TRY(read_list(list));
    const std::string text = signing::trust_list_to_json(given).pretty() + "\n";
    if (read_file(kept).value_or("") != text) {
      TRYV(write_file_atomic(kept, text, 0600));
      log_info("this host believes {} of {} keys for site {} in {}", given.needed,
               given.keys.size(), given.site, given.partition);
    }
  }
  auto trusted = read_list(kept);
  if (!trusted && trusted.error().code() == ErrorCode::not_found) return out;
  if (trusted) {
    out.list_ = std::move(*trusted);
  } else {
    out.broken_ = fmt::format("the trust list {} cannot be read: {}", kept.string(),
                              trusted.error().message());
  }
  const auto text = read_file(out.accepted_file_);
  if (text) {
    const auto load = [&]() -> Result<signing::Accepted> {
      return signing::accepted_from_json(TRY(parse_json(*text, "state/accepted.json")));
    };
    auto accepted = load();
    if (accepted) {
      out.accepted_ = std::move(*accepted);
    } else {
      // Without it an old statement could pass for a new one.
      out.broken_ = fmt::format("{} cannot be read: {}", out.accepted_file_.string(),
                                accepted.error().message());
    }
  } else if (text.error().code() != ErrorCode::not_found) {
    out.broken_ = text.error().message();
  }
  // What runs here must not suffer: it is kept as it was last told.
  if (!out.broken_.empty())
    log_error("{}; nothing new is taken from the controller until it is put right", out.broken_);
  return out;
}

std::optional<signing::TrustList> Trust::list() const {
  if (!broken_.empty()) return signing::TrustList{};
  return list_;
}

Status Trust::judge(const std::string& host, const Core& core, const plan::Target& target) {
  const signing::HostNow now = host_now(host, core);
  if (!broken_.empty()) {
    if (!signing::changes_something(now, target)) return {};
    return fail(ErrorCode::forbidden, broken_);
  }
  signing::Accepted accepted = TRY(signing::accept(*list_, accepted_, now, target));
  if (accepted == accepted_) return {};
  TRYV(write_file_atomic(accepted_file_, signing::accepted_to_json(accepted).dump() + "\n", 0600));
  accepted_ = std::move(accepted);
  return {};
}

Status Trust::check(const std::string& host, const Core& core, const plan::Target& target) {
  if (!asked_for()) return {};
  auto status = judge(host, core, target);
  refused_.clear();
  refusal_.clear();
  if (status || status.error().code() != ErrorCode::forbidden) return status;
  refusal_ = status.error().message();
  const signing::HostNow now = host_now(host, core);
  for (const auto& [service, entry] : target.instances) {
    if (signing::changes_something(now, service, entry)) refused_.emplace(service, entry);
  }
  return status;
}

void Trust::tell(plan::HostReport& report) const {
  report.statement = accepted_.sequence;
  report.untrusted = refusal_;
  for (const auto& [service, entry] : refused_) {
    plan::InstanceReport& instance = report.instances[service];
    plan::Outcome outcome;
    outcome.attempt = entry.attempt;
    outcome.result = plan::Outcome::Result::failed;
    outcome.step = "trust";
    outcome.message = "untrusted: " + refusal_;
    if (entry.duty) {
      outcome.attempt = entry.duty->token;
      instance.duties.insert_or_assign(entry.duty->token, outcome);
    } else {
      instance.outcome = outcome;
    }
  }
}

}  // namespace consort::agent

#include "access/decide.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace consort::access {
namespace {

using Least = ActionRow::Least;
using On = ActionRow::On;
using Others = ActionRow::Others;
using Grants = std::vector<Grant>;

bool is_admin(const Grants& grants) {
  return std::any_of(grants.begin(), grants.end(),
                     [](const Grant& grant) { return grant.role == Role::admin; });
}

bool is_deployer(const Grants& grants) {
  return std::any_of(grants.begin(), grants.end(), [](const Grant& grant) {
    return grant.role == Role::admin || grant.role == Role::deployer;
  });
}

bool covers_site(const Grants& grants) {
  return is_admin(grants) || std::any_of(grants.begin(), grants.end(), [](const Grant& grant) {
           return grant.role == Role::deployer &&
                  std::count(grant.services.begin(), grant.services.end(), "*") > 0;
         });
}

bool owns(const Grants& grants, const std::string& owner) {
  return !owner.empty() && std::any_of(grants.begin(), grants.end(), [&](const Grant& grant) {
    return grant.role == Role::deployer &&
           std::count(grant.owners.begin(), grant.owners.end(), owner) > 0;
  });
}

// The base service of a host class stands below all others of its hosts, whoever owns those: it is
// for grants that mean it, not for a glob like "*-shop" that happens to match it, nor for owners.
constexpr std::string_view kBaseService = "class:";

bool names_service(const std::string& pattern, const std::string& service) {
  if (service.starts_with(kBaseService) && pattern != "*" && !pattern.starts_with(kBaseService))
    return false;
  return glob_match(pattern, service);
}

bool covers(const Grants& grants, const ServiceSubject& service) {
  // Globs end at a NUL: "shop" must not match "shop\0…".
  if (service.name.find('\0') != std::string::npos) return false;
  for (const Grant& grant : grants) {
    if (grant.role != Role::deployer) continue;
    for (const std::string& pattern : grant.services) {
      if (names_service(pattern, service.name)) return true;
    }
  }
  if (service.name.starts_with(kBaseService)) return false;
  if (!service.owner_before && !service.owner_after) return false;
  return (!service.owner_before || owns(grants, *service.owner_before)) &&
         (!service.owner_after || owns(grants, *service.owner_after));
}

// "'shop', 'db' and 3 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 5;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), shown); ++i)
    out += fmt::format("{}'{}'", i == 0 ? "" : ", ", names[i]);
  if (names.size() > shown) out += fmt::format(" and {} more", names.size() - shown);
  return out;
}

bool names_services(const Subject& subject) {
  return subject.services && !subject.services->empty();
}

std::string doing_text(const ActionRow& row, const Subject& subject) {
  switch (row.on) {
    case On::nothing:
      return std::string(row.doing);
    case On::site:
      return fmt::format("{} the site", row.doing);
    case On::services: {
      // Which ones is not asked yet: "setting a secret of a service", but "deploying".
      if (subject.services_are_known == Subject::When::later)
        return fmt::format("{}{}", row.doing, row.doing.ends_with(" of") ? " a service" : "");
      if (!names_services(subject)) return fmt::format("{} services", row.doing);
      std::vector<std::string> names;
      for (const ServiceSubject& service : *subject.services) names.push_back(service.name);
      return fmt::format("{} {}", row.doing, listed(names));
    }
    case On::host:
      return fmt::format("{} host '{}'", row.doing, subject.name);
    case On::object:
      return fmt::format("{} an object", row.doing);
    case On::self:
      return fmt::format("{} '{}'", row.doing, subject.name);
  }
  return std::string(row.doing);
}

Decision allow(std::string reason) { return {true, std::move(reason)}; }
Decision refuse(std::string reason, std::string hint = "") {
  return {false, std::move(reason), std::move(hint)};
}

Decision for_anonymous(const ActionRow& row, const Subject& subject) {
  Decision out = refuse(fmt::format("{} needs a certificate or a token, and none was shown",
                                    doing_text(row, subject)));
  if (row.others == Others::joining)
    out.hint = "give the host a join token; an admin makes one with: consort token create";
  else if (row.least == Least::nobody)
    out.hint = "let the host join first: consort agent --join TOKEN";
  else
    out.hint =
        "use a token or certificate of an operator; an admin makes one with: consort operator "
        "token NAME";
  out.unauthenticated = true;
  return out;
}

Decision for_joining(const ActionRow& row, const Subject& subject) {
  if (row.others == Others::joining) return allow("with a join token");
  return refuse(fmt::format("{} is not for who only has a join token: it lets a host join, nothing "
                            "else",
                            doing_text(row, subject)),
                row.least == Least::nobody ? "wait until the host has its certificate"
                                           : "use a token or certificate of an operator");
}

Decision for_host(const ActionRow& row, const std::string& host, const Subject& subject) {
  if (row.others == Others::hosts) {
    switch (row.on) {
      case On::nothing:
        return allow("a host may");
      case On::host:
      case On::self:
        if (!host.empty() && subject.name == host) return allow("for itself");
        return refuse(fmt::format("{} is for that host alone; you are host '{}'",
                                  doing_text(row, subject), host),
                      "if the machine was renamed, let it join again under its new name");
      case On::object:
        if (subject.in_closure.value_or(true)) return allow("an object of what it runs");
        return refuse(
            fmt::format("host '{}' neither runs nor shall run what this object belongs to", host));
      case On::site:
      case On::services:
        break;
    }
  }
  return refuse(
      fmt::format("{} is not for hosts; you are host '{}'", doing_text(row, subject), host),
      row.others == Others::joining
          ? "it has joined already; to join anew an admin removes it: consort host remove"
          : "use a token or certificate of an operator");
}

// The services that no grant covers.
std::vector<std::string> uncovered(const Grants& grants, const Subject& subject) {
  std::vector<std::string> out;
  for (const ServiceSubject& service : *subject.services) {
    if (!covers(grants, service)) out.push_back(service.name);
  }
  return out;
}

Decision for_deployer(const ActionRow& row, const Principal& who, const Grants& grants,
                      const Subject& subject) {
  const auto lacking = [&](std::string_view scope, std::string_view services) {
    return refuse(
        fmt::format("{} needs the role deployer{}; you are {}", doing_text(row, subject), scope,
                    grants_text(grants)),
        fmt::format("an admin can give it: consort operator grant {} --role deployer "
                    "--service '{}'{}",
                    who.name, services,
                    is_deployer(grants) ? ", with what you have already: it replaces that" : ""));
  };
  if (covers_site(grants)) return allow(grants_text(grants));
  switch (row.on) {
    case On::nothing:
      return is_deployer(grants) ? allow(grants_text(grants)) : lacking("", "SERVICE");
    case On::services: {
      if (subject.services_are_known == Subject::When::later)
        return is_deployer(grants) ? allow(grants_text(grants)) : lacking("", "SERVICE");
      if (!names_services(subject)) return lacking(" of '*'", "*");
      if (!is_deployer(grants)) {
        const bool one = subject.services->size() == 1;
        return lacking(one ? " for it" : " for them",
                       one ? subject.services->front().name : "SERVICE");
      }
      const std::vector<std::string> others = uncovered(grants, subject);
      if (others.empty()) return allow(grants_text(grants));
      return lacking(fmt::format(" of {}", listed(others)),
                     others.size() == 1 ? others.front() : "SERVICE");
    }
    case On::site:
      return lacking(" of '*'", "*");
    case On::host:
    case On::object:
    case On::self:
      break;
  }
  return refuse(
      fmt::format("{} is for admins; you are {}", doing_text(row, subject), grants_text(grants)));
}

Decision for_operator(const ActionRow& row, const Principal& who, const Grants& grants,
                      const Subject& subject) {
  const auto lacking = [&](std::string_view role) {
    return refuse(
        fmt::format("{} needs the role {}; you are {}", doing_text(row, subject), role,
                    grants_text(grants)),
        fmt::format("an admin can give it: consort operator grant {} --role {}{}", who.name, role,
                    is_deployer(grants) ? "; it replaces what you have" : ""));
  };
  switch (row.least) {
    case Least::anyone:
      return allow("anyone may");
    case Least::known:
      if (row.on == On::self && (who.name.empty() || subject.name != who.name))
        return refuse(fmt::format("{} is for that one alone; you are operator '{}'",
                                  doing_text(row, subject), who.name));
      return allow("any operator may");
    case Least::viewer:
      return grants.empty() ? lacking("viewer") : allow(grants_text(grants));
    case Least::deployer:
      return for_deployer(row, who, grants, subject);
    case Least::admin:
      return is_admin(grants) ? allow(grants_text(grants)) : lacking("admin");
    case Least::nobody:
      break;
  }
  return refuse(fmt::format("{} is not for operators, admins included", doing_text(row, subject)),
                row.others == Others::hosts ? "only the host itself may, with its own certificate"
                                            : "a join token is needed");
}

}  // namespace

Status Decision::status() const {
  if (allowed) return {};
  return fail(unauthenticated ? ErrorCode::unauthenticated : ErrorCode::forbidden, reason)
      .hint(hint);
}

Decision decide(const Principal& principal, const std::vector<Grant>& grants, Action action,
                const Subject& subject) {
  const auto index = static_cast<std::size_t>(action);
  if (index >= action_table().size())
    return refuse("what is asked for is in no table of permissions",
                  "the client may be newer than the controller");
  const ActionRow& row = action_table()[index];
  if (row.least == Least::anyone) return allow("anyone may");
  const bool placed = principal.kind == Principal::Kind::host ||
                      principal.kind == Principal::Kind::joining ||
                      principal.kind == Principal::Kind::operator_;
  if (placed && !principal.partition.empty() && !subject.partition.empty() &&
      principal.partition != subject.partition)
    return refuse(fmt::format("this credential is for the partition '{}', and this is '{}'",
                              principal.partition, subject.partition),
                  "ask the controller of your partition");
  switch (principal.kind) {
    case Principal::Kind::anonymous:
      return for_anonymous(row, subject);
    case Principal::Kind::joining:
      return for_joining(row, subject);
    case Principal::Kind::host:
      return for_host(row, principal.name, subject);
    case Principal::Kind::operator_:
      return for_operator(row, principal, grants, subject);
    case Principal::Kind::local:
      return allow("plain loopback with --insecure: everything is allowed");
  }
  return refuse("nobody knows who is asking");
}

}  // namespace consort::access

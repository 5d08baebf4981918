#include "controller/deploy_body.h"

#include <fmt/format.h>

#include "base/address_range.h"
#include "base/json_reader.h"
#include "base/text.h"

namespace consort::controller {

namespace {

// Checked where it comes in, not in plan::generation_from_json(): what is stored must stay
// readable.
Status check_hosts(const plan::Generation& candidate) {
  for (const auto& [name, host] : candidate.hosts) {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, "generation.hosts: one has no good name")
          .hint("letters, digits, '-', '_' and '.', at most 63");
    if (host.address != name && !is_address_or_name(host.address))
      return fail(ErrorCode::invalid_input,
                  fmt::format("generation.hosts.{}.address: no IP address and no name", name))
          .hint("write it like 10.0.0.7, fd00::7 or web1.example");
  }
  return {};
}

}  // namespace

Result<DeployRequest> deploy_request_from_json(const Json& json) {
  JsonReader reader(json, "");
  DeployRequest out;
  if (const Json* generation = reader.any("generation")) {
    out.candidate = TRY(plan::generation_from_json(*generation));
    TRYV(check_hosts(out.candidate));
  } else {
    reader.note(fail(ErrorCode::invalid_input, "generation is missing"));
  }
  for (std::string& name : reader.strings("only")) out.only.insert(std::move(name));
  for (std::string& name : reader.strings("except")) out.except.insert(std::move(name));
  out.allow_outage = reader.boolean("allowOutage", false);
  out.allow_unsafe_removal = reader.boolean("allowUnsafeRemoval", false);
  out.allow_shrink = reader.boolean("allowShrink", false);
  if (const auto expect = reader.optional_string("expect"))
    out.expect = TRY(Digest::parse(*expect));
  if (const Json* statement = reader.any("statement"))
    out.statement = TRY(plan::signed_statement_from_json(*statement, "statement"));
  out.to_be_signed = reader.boolean("sign", false);
  out.new_chain = reader.boolean("newChain", false);
  out.without_signature = reader.boolean("unsigned", false);
  out.by = reader.string("by", "");
  out.message = reader.string("message", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

}  // namespace consort::controller

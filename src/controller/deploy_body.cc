#include "controller/deploy_body.h"

#include "base/json_reader.h"

namespace consort::controller {

Result<DeployRequest> deploy_request_from_json(const Json& json) {
  JsonReader reader(json, "");
  DeployRequest out;
  if (const Json* generation = reader.any("generation")) {
    out.candidate = TRY(plan::generation_from_json(*generation));
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

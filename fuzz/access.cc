// The records of the registry: operators with their grants, hosts, revoked certificates, secrets.
#include "access/registry.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, access::operator_from_json, access::operator_to_json);
  fuzz::round_trip(text, access::host_identity_from_json, access::host_identity_to_json);
  fuzz::round_trip(text, access::revoked_from_json, access::revoked_to_json);
  fuzz::round_trip(text, access::secret_record_from_json, access::secret_record_to_json);
  fuzz::round_trip(text, access::sealed_secret_from_json, access::sealed_secret_to_json);
  return 0;
}

// Audit logs, as somebody brings them to be verified.
#include "access/audit.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  const auto entries = access::audit_from_lines(text);
  if (!entries) return 0;
  fuzz::require(access::audit_lines(*entries) == text, "an entry has one way to be written");
  static_cast<void>(access::verify(*entries));
  return 0;
}

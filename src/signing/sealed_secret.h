// An operator's signature over a sealed secret. Sealing hides a value and proves nothing of who
// sealed it: without a signature, whoever has the controller could give hosts values of their own.
// One key of the trust list is enough: a value is one operator's word. Pure.
#pragma once

#include <string>

#include "access/secrets.h"
#include "signing/trust_list.h"

namespace consort::signing {

// Over the list's site, the secret's context and what is sealed. Errors: invalid_input (another
// kind of key), forbidden (another partition than the list's).
[[nodiscard]] Status add_signature(const crypto::PrivateKey& key, const TrustList& list,
                                   const std::string& partition, access::SealedSecret& secret);
// Error forbidden: another partition, or no key of the list has signed it.
[[nodiscard]] Status check_secret(const TrustList& list, const std::string& partition,
                                  const access::SealedSecret& secret);

}  // namespace consort::signing

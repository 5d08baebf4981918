#include "crypto/certificates.h"

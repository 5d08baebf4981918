#include "crypto/authority.h"

#include "crypto/identity.h"

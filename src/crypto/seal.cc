#include "crypto/seal.h"

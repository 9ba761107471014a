//! OpenStack credentials in; an authenticated transport and the service catalogue out.
